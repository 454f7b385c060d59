"""The genotype layer: declared gene tables, populations as arrays, their text and Parquet."""
