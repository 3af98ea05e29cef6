# The header as an older and a newer version has it, made of today's: folders older/ and newer/ in
# the build. The older one is real: what a model's description had before is_verified was added.
# The newer one has a field more in every struct that may grow.
file(READ ${CMAKE_CURRENT_SOURCE_DIR}/../include/xedge/xedge.h today)

function(xedge_changed text from to)
  string(REPLACE "${from}" "${to}" changed "${${text}}")
  if(changed STREQUAL "${${text}}")
    message(FATAL_ERROR "versions.cmake: xedge.h has no '${from}' any more")
  endif()
  set(${text} "${changed}" PARENT_SCOPE)
endfunction()

# Of a model: the last two fields, and their zeros in its INIT.
string(REGEX REPLACE "[^\n]*is_verified;[^\n]*\n[^\n]*reserved;\n}" "}" older "${today}")
xedge_changed(older "0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0 }" "0.0, 0.0, 0.0, 0.0, 0, 0 }")
file(CONFIGURE OUTPUT older/xedge/xedge.h CONTENT "${older}" @ONLY)

set(newer "${today}")
foreach(name model options scan window self_test_result)
  xedge_changed(newer "} xedge_${name};" "    uint64_t added;\n} xedge_${name};")
endforeach()
# One zero more in each INIT, which all end so.
xedge_changed(newer " 0 }\n" " 0, 0 }\n")
xedge_changed(newer " 0u }\n" " 0u, 0 }\n")
xedge_changed(newer " 0.0 }\n" " 0.0, 0 }\n")
file(CONFIGURE OUTPUT newer/xedge/xedge.h CONTENT "${newer}" @ONLY)

foreach(version older newer)
  add_executable(test_${version} test_versions.c)
  string(TOUPPER "${version}=1" which)
  target_compile_definitions(test_${version} PRIVATE ${which})
  target_include_directories(test_${version} BEFORE PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/${version})
  target_link_libraries(test_${version} PRIVATE xedge::xedge xedge_warnings)
  add_test(NAME header-${version} COMMAND test_${version} ${XEDGE_TEST_BUNDLE})
endforeach()
