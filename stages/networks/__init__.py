"""What a weights file is: its card, its architecture, and the network it makes."""
