# The direction of includes is a rule of the build: base <- policy <- { oci-specs, sandbox } <- node
# <- { hook, agent }, and hook and agent never include each other.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_custom_target(include-direction ALL
  COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/include_direction.py ${PROJECT_SOURCE_DIR}
  COMMENT "Checking the direction of includes" VERBATIM)
