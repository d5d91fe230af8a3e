# A network as a library of the build, compiled when the build needs it and again when its file, its weights, what `cnnc
# tune` wrote beside it, or the compiler change:
#
#   cnnc_add_network(lenet5 lenet5.yaml [TRAIN] [WEIGHTS w.safetensors] [OPTIONS -O3 -march=x86-64-v3 ...]
#                    [DEPENDS more files that the network reads ...])
#   target_link_libraries(app PRIVATE lenet5)            # and #include "lenet5.h"
#
# The library and its header are named after the network's file and lie in the target property CNNC_OUTPUT_DIR.
# install(FILES $<TARGET_FILE:lenet5> ...) installs the library.
function(cnnc_add_network target network)
  cmake_parse_arguments(PARSE_ARGV 2 arg "TRAIN" "WEIGHTS" "OPTIONS;DEPENDS")
  if(arg_UNPARSED_ARGUMENTS OR arg_KEYWORDS_MISSING_VALUES)
    message(FATAL_ERROR "cnnc_add_network(${target}): what is ${arg_UNPARSED_ARGUMENTS}${arg_KEYWORDS_MISSING_VALUES}? "
                        "Wanted: target network [TRAIN] [WEIGHTS file] [OPTIONS ...] [DEPENDS ...]")
  endif()
  get_filename_component(network "${network}" ABSOLUTE)
  get_filename_component(stem "${network}" NAME_WLE)
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/${target}.cnnc")
  set(library "${folder}/${stem}.so")
  set(header "${folder}/${stem}.h")
  file(MAKE_DIRECTORY "${folder}") # include directories must exist when CMake runs

  set(options ${arg_OPTIONS})
  get_filename_component(beside "${network}" DIRECTORY)
  file(GLOB tuning CONFIGURE_DEPENDS "${beside}/${stem}.tune") # it may come, and go, at any time
  set(depends "${network}" ${tuning} ${arg_DEPENDS})
  if(arg_TRAIN)
    list(APPEND options --train)
  endif()
  if(arg_WEIGHTS)
    get_filename_component(weights "${arg_WEIGHTS}" ABSOLUTE)
    list(APPEND options --weights "${weights}")
    list(APPEND depends "${weights}")
  endif()
  add_custom_command(
    OUTPUT "${library}" "${header}"
    COMMAND cnnc::program "${network}" -o "${library}" ${options}
    DEPENDS ${depends} "$<TARGET_FILE:cnnc::program>"
    COMMENT "Compiling the network ${target}"
    VERBATIM)
  add_custom_target(${target}.cnnc DEPENDS "${library}" "${header}")

  add_library(${target} SHARED IMPORTED GLOBAL)
  add_dependencies(${target} ${target}.cnnc)
  set_target_properties(
    ${target} PROPERTIES IMPORTED_LOCATION "${library}" IMPORTED_SONAME "${stem}.so" CNNC_OUTPUT_DIR "${folder}"
                         INTERFACE_INCLUDE_DIRECTORIES "${folder}" INTERFACE_LINK_LIBRARIES cnnc::headers)
endfunction()
