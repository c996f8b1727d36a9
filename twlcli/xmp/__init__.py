"""Keywords in XMP, IPTC and EXIF: read from the bytes of sidecars and photographs."""
