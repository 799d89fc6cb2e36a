"""The process that answers what-ifs, and the answers that are kept."""
