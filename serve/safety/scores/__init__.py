"""How strange is a case? A number for each way in which an image or its mask can be unlike the known ones."""
