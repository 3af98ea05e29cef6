# libxedge as a part of xedge's wheel: site-packages/xedge/libxedge, beside the engines' packages.
set(CMAKE_INSTALL_LIBDIR lib)

# The Python of the build's own environment, into which backend.py asks for OpenVINO.
if(Python_EXECUTABLE)
  set(XEDGE_PYTHON ${Python_EXECUTABLE} CACHE FILEPATH "" FORCE)
endif()

# From lib/ of the installation to an engine's package; the loader replaces $ORIGIN.
set(xedge_site_packages "$ORIGIN/../../..")
