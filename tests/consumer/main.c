/* consumer_c BUNDLE: the score of a row of zeros, from C. */
#include <stdio.h>
#include <stdlib.h>
#include <vaelocity/vaelocity.h>

int main(int argc, char **argv) {
  char why[256] = "usage: consumer_c BUNDLE";
  vael_model *model = NULL;
  vael_info info = {sizeof info, 0, 0, NULL, NULL, NULL, NULL, 0};
  if (argc < 2 || vael_load_file(argv[1], NULL, &model, why, sizeof why) != VAEL_OK) {
    fprintf(stderr, "%s\n", why);
    return 1;
  }
  vael_inspect(model, &info);
  float *row = calloc(info.n_features, sizeof *row), score = 0;
  void *workspace = malloc(info.workspace_bytes);
  unsigned char flags = 255;
  vael_score_rows(model, row, info.n_features, 1, workspace, &score, &flags);
  printf("%a %d\n", (double)score, flags);
  free(workspace);
  free(row);
  vael_free(model);
  return 0;
}
