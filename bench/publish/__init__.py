"""Results for others to read: a site for any web host, or a dataset on the Hugging Face Hub."""
