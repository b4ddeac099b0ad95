"""One score a module: accuracy, intervals, paired tests, votes, mean average precision, probe, controls."""
