"""How the objects of training frameworks become a Recipe. One framework a file; nothing trains here."""
