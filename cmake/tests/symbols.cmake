# Compares what the library exports with the list in the repository.
execute_process(COMMAND ${NM} -D --defined-only ${LIBRARY} OUTPUT_VARIABLE table
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[A-Z] [^\n]+" rows "${table}")
list(TRANSFORM rows REPLACE "^[A-Z] " "")
list(SORT rows)
file(STRINGS ${LIST} listed)
if(NOT rows STREQUAL listed)
  list(JOIN rows "\n" rows)
  message(FATAL_ERROR "The exported symbols are not those of symbols.txt. They are:\n${rows}")
endif()
