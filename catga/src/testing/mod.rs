//! Several nodes in one process, with virtual time, a record of what they did, and faults.

mod kill;
