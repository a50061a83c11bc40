"""The paper's table, for any engine and for results that other tools made, on any folder of clips."""
