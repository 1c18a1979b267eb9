"""What runs did, read from the folders they left, as one page that opens anywhere."""
