"""Reports as one HTML file: what was trained, whether it helped, and how sure that is."""
