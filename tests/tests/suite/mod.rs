mod callers;
mod crash;
mod doors;
mod faults;
mod tamper;
mod whole;
