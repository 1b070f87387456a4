"""Place index: descriptors of a folder of images on disk, exact or coded, which follows the folder. Knows no model."""
