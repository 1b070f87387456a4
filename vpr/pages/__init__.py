"""HTML pages, each one file: jinja2 templates, a stylesheet, scripts, images as data URIs. Knows no domain object."""
