/* The one place where the version is written: CMake and pyproject.toml read it here. */
#ifndef VAELOCITY_VERSION_H
#define VAELOCITY_VERSION_H

#define VAELOCITY_VERSION "0.1.0"

#endif
