mod operator;
mod whole;
