# libxedge.a, target xedge::static: one object whose only global names are those of the header, so
# that nothing inside meets a name of the program it is linked into. Programs in C link it, too.
if(XEDGE_SANITIZE OR NOT CMAKE_OBJCOPY)
  return()
endif()
set(whole ${CMAKE_CURRENT_BINARY_DIR}/xedge_whole.o)
# Without its COMDAT groups: a linker would take another's for a group of the same name.
add_custom_command(OUTPUT ${whole}
  COMMAND ${CMAKE_LINKER} -r --force-group-allocation -o ${whole} $<TARGET_OBJECTS:xedge_parts>
  COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${whole}
  DEPENDS xedge_parts $<TARGET_OBJECTS:xedge_parts> COMMAND_EXPAND_LISTS VERBATIM)
add_library(xedge_static STATIC ${whole})
set_source_files_properties(${whole} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
# What a C++ compiler would link by itself, named for a program that has only C.
set(runtime ${CMAKE_CXX_IMPLICIT_LINK_LIBRARIES})
list(FILTER runtime INCLUDE REGEX "^(stdc\\+\\+|c\\+\\+|m)$")
list(REMOVE_DUPLICATES runtime)
set_target_properties(xedge_static PROPERTIES OUTPUT_NAME xedge EXPORT_NAME static
                      LINKER_LANGUAGE C)
target_include_directories(xedge_static INTERFACE
  $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(xedge_static INTERFACE ${runtime} ${CMAKE_DL_LIBS})
add_library(xedge::static ALIAS xedge_static)
install(TARGETS xedge_static EXPORT xedge-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
