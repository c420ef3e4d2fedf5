"""The truth campaign: whether every row that nbext gives, and every line of its journal, is what the exchange knows."""
