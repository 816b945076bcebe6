"""Stop strings, thinking and token counts of a text that grows. Imports no torch: servers use it too."""
