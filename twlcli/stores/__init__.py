"""Images, models and tables in stores such as S3, through fsspec."""
