# Leaves the metadata where a test can read them
foreach(_name HOMEPAGE CATEGORY CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  file(APPEND "${CMAKE_BINARY_DIR}/metadata.txt" "${_name}=${EXTENSION_${_name}}\n")
endforeach()
