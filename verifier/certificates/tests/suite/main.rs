//! Certificates of others, and certificates that are made here with one thing changed.

mod chains;
mod made;
