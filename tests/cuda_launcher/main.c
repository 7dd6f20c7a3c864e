/* A trigger's use of the launcher that `vaelocity export --cubin` writes. */
#include "model.h"

#include <stdio.h>

int main(void) {
  char error[200] = "";
  model *scorer;
  int status = model_open(&scorer, error, sizeof error);
  if (status) {
    printf("open: %d %s\n", status, error);
    return 1;
  }
  char rows = 11, flags = 33, decisions = 44;
  float scores = 22;
  void *stream = (void *)0x5;
  const int sizes[] = {1, 1000, 1000000};
  for (int i = 0; i < 3; ++i)
    if (model_score(scorer, &rows, 64, sizes[i], 2.5f, &scores, (uint8_t *)&flags,
                    (uint8_t *)&decisions, stream))
      return 2;
  printf("bad %d %d %d nothing %d\n",
         model_score(scorer, &rows, MODEL_FEATURES - 1, 1, 0, &scores, (uint8_t *)&flags,
                     (uint8_t *)&decisions, stream),
         model_score(scorer, &rows, 64, -1, 0, &scores, (uint8_t *)&flags, (uint8_t *)&decisions,
                     stream),
         model_score(scorer, 0, 64, 1, 0, &scores, (uint8_t *)&flags, (uint8_t *)&decisions,
                     stream),
         model_score(scorer, 0, 64, 0, 0, 0, 0, 0, stream));
  model_close(scorer);
  return 0;
}
