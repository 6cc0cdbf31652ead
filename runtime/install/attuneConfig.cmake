# find_package(attune), then target_link_libraries(program attune::attune), or attune::static for the archive.
get_filename_component(_attune_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET attune::attune)
  add_library(attune::attune SHARED IMPORTED)
  set_target_properties(attune::attune PROPERTIES
    IMPORTED_LOCATION "${_attune_prefix}/lib/libattune.so.0"
    IMPORTED_SONAME libattune.so.0
    INTERFACE_INCLUDE_DIRECTORIES "${_attune_prefix}/include")
  add_library(attune::static STATIC IMPORTED)
  set_target_properties(attune::static PROPERTIES
    IMPORTED_LOCATION "${_attune_prefix}/lib/libattune.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_attune_prefix}/include"
    INTERFACE_LINK_LIBRARIES "sqlite3;jansson;md;pthread;dl;m")
endif()
unset(_attune_prefix)
