"""A mail sink: takes every mail by SMTP, keeps it, and shows it to tests over HTTP and to people on a page."""
