# Debian's cross compiler for 64-bit ARM (apt-get install g++-aarch64-linux-gnu), and QEMU's user
# mode emulation (qemu-user-static) to run the tests with; without it they only build.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
find_program(XEDGE_QEMU NAMES qemu-aarch64-static qemu-aarch64)
if(XEDGE_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${XEDGE_QEMU} -L /usr/aarch64-linux-gnu)
endif()
# Libraries of the target alone; programs of this machine.
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
# Both: the headers of ONNX Runtime are for every processor.
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
