"""Looking for what is wrong with labelled images, and splitting them fairly."""
