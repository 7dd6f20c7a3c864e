/* Stands in for libcuda.so.1: device memory is host memory, and a launch is printed, not done. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int contexts, modules, allocations;
static size_t sizes[64];
static void *addresses[64];
static int any;

int cuInit(unsigned flags) { return flags != 0; }
int cuCtxGetCurrent(void **context) {
  *context = contexts ? &contexts : NULL;
  return 0;
}
int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
  *context = &contexts;
  return device;
}
int cuCtxSetCurrent(void *context) {
  contexts = context == &contexts;
  return !contexts;
}
int cuCtxGetDevice(int *device) {
  *device = 0;
  return !contexts;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 16 ? 132 : -1;
  return device;
}
int cuModuleLoadData(void **module, const void *image) {
  if (getenv("FAKE_NO_KERNEL_IMAGE"))
    return 209; /* CUDA_ERROR_NO_BINARY_FOR_GPU */
  if (memcmp(image, "\177ELF", 4))
    return 200; /* CUDA_ERROR_INVALID_IMAGE */
  ++modules;
  *module = (void *)image;
  return 0;
}
int cuModuleUnload(void *module) {
  --modules;
  return module == NULL;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
  printf("function %s\n", name);
  *function = module;
  return 0;
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
  printf("attribute %d = %d\n", attribute, value);
  return function == NULL;
}
int cuMemAlloc_v2(uint64_t *pointer, size_t size) {
  void *memory = malloc(size);
  addresses[any] = memory;
  sizes[any++] = size;
  ++allocations;
  *pointer = (uint64_t)(uintptr_t)memory;
  return memory == NULL;
}
int cuMemFree_v2(uint64_t pointer) {
  free((void *)(uintptr_t)pointer);
  --allocations;
  return 0;
}
int cuMemcpyHtoD_v2(uint64_t pointer, const void *data, size_t size) {
  memcpy((void *)(uintptr_t)pointer, data, size);
  return 0;
}

/* Size and FNV-1a hash of what was uploaded. */
static void memory(const char *name, void *const *argument) {
  uint64_t pointer;
  memcpy(&pointer, *argument, sizeof pointer);
  for (int i = 0; i < any; ++i)
    if ((uint64_t)(uintptr_t)addresses[i] == pointer) {
      uint64_t hash = 14695981039346656037u;
      for (size_t k = 0; k < sizes[i]; ++k)
        hash = (hash ^ ((unsigned char *)addresses[i])[k]) * 1099511628211u;
      printf("%s %zu %llx\n", name, sizes[i], (unsigned long long)hash);
    }
}

int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads,
                   unsigned ty, unsigned tz, unsigned shared, void *stream, void **arguments,
                   void **extra) {
  const int has_scratch = getenv("FAKE_SCRATCH") != NULL;
  void **rest = arguments + 6 + has_scratch;
  printf("launch %u %u %u threads %u %u %u shared %u stream %p extra %p\n", x, y, z, threads, ty,
         tz, shared, stream, (void *)extra);
  printf("row_stride %lld n %d\n", (long long)*(int64_t *)arguments[1], *(int32_t *)arguments[2]);
  memory("weights", &arguments[3]);
  memory("biases", &arguments[4]);
  memory("scaling", &arguments[5]);
  if (has_scratch) {
    uint64_t pointer;
    memcpy(&pointer, arguments[6], sizeof pointer);
    for (int i = 0; i < any; ++i)
      if ((uint64_t)(uintptr_t)addresses[i] == pointer)
        printf("scratch %zu\n", sizes[i]);
  }
  printf("beta %.9g threshold %.9g\n", *(float *)rest[0], *(float *)rest[1]);
  printf("pointers %d %d %d %d\n", **(char **)arguments[0], (int)**(float **)rest[2],
         **(char **)rest[3], **(char **)rest[4]);
  printf("programs %d\n", *(int32_t *)rest[5]);
  for (int i = 0; i < 2; ++i)
    printf("extra %llu\n", (unsigned long long)*(uint64_t *)rest[6 + i]);
  return function == NULL;
}

__attribute__((destructor)) static void left(void) {
  printf("left: %d modules, %d allocations\n", modules, allocations);
}
