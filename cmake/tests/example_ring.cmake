# The examples side by side, as two programs: every line comes, and the end as well.
string(RANDOM LENGTH 12 name)
set(ring /dev/shm/xedge-${name})
execute_process(COMMAND ${WRITER} ${ring} 2000 4000 COMMAND ${READER} ${ring} 30
                OUTPUT_VARIABLE said RESULTS_VARIABLE codes)
file(REMOVE ${ring})
if(NOT codes STREQUAL "0;0" OR NOT said MATCHES "^lines 2000 lost 0 damaged 0 jumps 0 writers 1 ")
  message(FATAL_ERROR "${codes}: ${said}")
endif()
message(STATUS "${said}")
