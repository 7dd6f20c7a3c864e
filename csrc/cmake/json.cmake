# nlohmann_json, header only, from Debian (nlohmann-json3-dev), any prefix CMake knows, or, when the
# extension is built, the PyPI package nlohmann-json beside the interpreter that runs the build.
find_package(nlohmann_json 3.10 QUIET)
if(NOT TARGET nlohmann_json::nlohmann_json)
  find_package(Python QUIET COMPONENTS Interpreter)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import nlohmann_json, os; print(os.path.dirname(nlohmann_json.__file__))"
    OUTPUT_VARIABLE VAELOCITY_JSON_PACKAGE OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  find_path(VAELOCITY_JSON_INCLUDE nlohmann/json.hpp HINTS "${VAELOCITY_JSON_PACKAGE}/include")
  if(NOT VAELOCITY_JSON_INCLUDE)
    message(FATAL_ERROR "nlohmann_json was not found: apt-get install nlohmann-json3-dev, or pip install nlohmann-json")
  endif()
  add_library(nlohmann_json::nlohmann_json INTERFACE IMPORTED)
  target_include_directories(nlohmann_json::nlohmann_json SYSTEM INTERFACE ${VAELOCITY_JSON_INCLUDE})
endif()
