// C that a generator wrote, for peers/emx_onnx_cgen.py.
#include <stddef.h>

#include "model.c"
