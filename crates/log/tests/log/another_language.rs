//! What another language reads, and the logs of format v1 that are kept for ever.
