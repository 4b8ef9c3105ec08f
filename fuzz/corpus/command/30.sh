echo a \
  b