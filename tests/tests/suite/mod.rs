mod callers;
mod crash;
mod doors;
mod faults;
mod operator;
mod tamper;
mod whole;
