"""How well accounts do now (METRICS section 3): scores from components, and bands that close with the day."""
