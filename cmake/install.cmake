# cmake --install: the program, headers for C and C++, the Python package, and what CMake and pkg-config look for.
#
#   bin/cnnc    include/cnn.h, cnnc.hpp    lib/python3/dist-packages/cnnc    lib/cmake/cnnc    lib/pkgconfig
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(CNNC_PYTHON_DIR lib/python3/dist-packages CACHE STRING "where the Python package goes, below the prefix")
set(CNNC_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/cnnc)

set_target_properties(cnnc PROPERTIES INSTALL_RPATH_USE_LINK_PATH TRUE) # LLVM is not among the system's libraries
install(TARGETS cnnc RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES include/cnnc.hpp runtime/artefact/cnn.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY python/cnnc DESTINATION ${CNNC_PYTHON_DIR} FILES_MATCHING PATTERN *.py PATTERN __pycache__ EXCLUDE)

configure_package_config_file(cmake/cnncConfig.cmake.in ${CMAKE_BINARY_DIR}/cnncConfig.cmake
                              INSTALL_DESTINATION ${CNNC_CMAKE_DIR}
                              PATH_VARS CMAKE_INSTALL_BINDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/cnncConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/cnncConfig.cmake ${CMAKE_BINARY_DIR}/cnncConfigVersion.cmake
              cmake/cnnc_add_network.cmake
        DESTINATION ${CNNC_CMAKE_DIR})

# Relative to the file, so that the prefix can be moved.
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH CNNC_PC_PREFIX /prefix/${pc_dir} /prefix)
configure_file(cmake/cnnc.pc.in ${CMAKE_BINARY_DIR}/cnnc.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/cnnc.pc DESTINATION ${pc_dir})
