"""What each section of the side panel asks, answered as JSON values."""
