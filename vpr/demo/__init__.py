"""Where was this photo taken? Answers to photos from a place index, as files, pictures and a page."""
