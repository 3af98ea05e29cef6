# Which engines are built in, and where their libraries were found.
#
# Only headers are needed here: libraries are loaded at run time. `xedge_engine_headers` carries the
# headers and says XEDGE_HAS_OPENVINO and XEDGE_HAS_ONNXRUNTIME. `xedge_installed_engines` lists the
# packages that are installed and were not switched off, whether they could be built in or not.
#
#   XEDGE_PYTHON         a Python whose packages openvino and onnxruntime are used when installed
#   XEDGE_OPENVINO       ON, OFF, or AUTO: when its headers are found (OpenVINO_DIR may name them)
#   XEDGE_ORT            ON, OFF, or AUTO: likewise (XEDGE_ORT_INCLUDE names the headers' folder)
#   XEDGE_ENGINE_PATHS   OFF keeps the libraries' paths on this machine out of libxedge, as a package
#                        for other machines must

set(XEDGE_OPENVINO AUTO CACHE STRING "ON, OFF or AUTO")
set(XEDGE_ORT AUTO CACHE STRING "ON, OFF or AUTO")
option(XEDGE_ENGINE_PATHS "Remember where the engines' libraries are on this machine" ON)
find_program(XEDGE_PYTHON NAMES python3 python DOC "Python whose packages are looked at for engines")

# Folder of an installed Python package, empty when there is none; nothing is imported.
function(xedge_python_package name out)
  set(folder "")
  if(XEDGE_PYTHON)
    execute_process(
      COMMAND ${XEDGE_PYTHON} -c
        "import importlib.util as u; s = u.find_spec('${name}'); print(s.submodule_search_locations[0] if s else '')"
      OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  set(${out} "${folder}" PARENT_SCOPE)
endfunction()

add_library(xedge_engine_headers INTERFACE)
set(xedge_installed_engines "")

set(openvino_path "")
set(openvino_soname "")
if(XEDGE_OPENVINO)
  xedge_python_package(openvino package)
  if(package)
    list(APPEND xedge_installed_engines openvino)
  endif()
  find_package(OpenVINO CONFIG QUIET COMPONENTS Runtime HINTS "${package}/cmake")
  if(TARGET openvino::runtime::c)
    get_target_property(openvino_include openvino::runtime::c INTERFACE_INCLUDE_DIRECTORIES)
    get_target_property(openvino_path openvino::runtime::c IMPORTED_LOCATION_RELEASE)
    cmake_path(GET openvino_path FILENAME openvino_soname)
    target_include_directories(xedge_engine_headers SYSTEM INTERFACE ${openvino_include})
    target_compile_definitions(xedge_engine_headers INTERFACE XEDGE_HAS_OPENVINO=1)
    message(STATUS "OpenVINO: ${OpenVINO_VERSION}, ${openvino_path}")
  elseif(XEDGE_OPENVINO STREQUAL "AUTO")
    message(STATUS "OpenVINO: not found, libxedge is built without it (pip install openvino)")
  else()
    message(FATAL_ERROR "OpenVINO was asked for and not found: pip install openvino, and name that "
                        "Python with -DXEDGE_PYTHON=, or set OpenVINO_DIR")
  endif()
endif()

set(ort_path "")
if(XEDGE_ORT)
  find_path(XEDGE_ORT_INCLUDE onnxruntime_c_api.h
            HINTS ${CMAKE_CURRENT_SOURCE_DIR}/../build/onnxruntime-headers/usr/include
            PATH_SUFFIXES onnxruntime onnxruntime/core/session
            DOC "Folder of onnxruntime_c_api.h")
  xedge_python_package(onnxruntime package)
  if(package)
    list(APPEND xedge_installed_engines onnxruntime)
  endif()
  if(XEDGE_ORT_INCLUDE)
    file(GLOB found "${package}/capi/libonnxruntime.so.*")
    if(found)
      list(GET found 0 ort_path)
    endif()
    target_include_directories(xedge_engine_headers SYSTEM INTERFACE ${XEDGE_ORT_INCLUDE})
    target_compile_definitions(xedge_engine_headers INTERFACE XEDGE_HAS_ONNXRUNTIME=1)
    message(STATUS "ONNX Runtime: headers ${XEDGE_ORT_INCLUDE}, ${ort_path}")
  elseif(XEDGE_ORT STREQUAL "AUTO")
    message(STATUS "ONNX Runtime: no headers, libxedge is built without it "
                   "(cmake/fetch_onnxruntime_headers.sh fetches them)")
  else()
    message(FATAL_ERROR "ONNX Runtime was asked for and onnxruntime_c_api.h not found: run "
                        "cmake/fetch_onnxruntime_headers.sh, or set XEDGE_ORT_INCLUDE")
  endif()
endif()

if(xedge_site_packages)  # a wheel: not where they were at build time, but beside it
  set(openvino_path "${xedge_site_packages}/openvino/libs/${openvino_soname}")
  cmake_path(GET ort_path FILENAME ort_path)
  if(ort_path)
    set(ort_path "${xedge_site_packages}/onnxruntime/capi/${ort_path}")
  endif()
elseif(NOT XEDGE_ENGINE_PATHS)
  set(openvino_path "")
  set(ort_path "")
endif()
target_compile_definitions(xedge_engine_headers INTERFACE
  XEDGE_OPENVINO_PATH="${openvino_path}" XEDGE_OPENVINO_SONAME="${openvino_soname}"
  XEDGE_ONNXRUNTIME_PATH="${ort_path}")
