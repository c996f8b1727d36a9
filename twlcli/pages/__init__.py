"""What all HTML pages and plots share: templates, colours, scales and drawing."""
