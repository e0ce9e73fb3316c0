mod callers;
mod crash;
mod doors;
mod faults;
mod operator;
mod replay;
mod tamper;
mod whole;
