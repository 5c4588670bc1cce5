"""report.html: one file that opens without a network, from the same values as the other reports."""
