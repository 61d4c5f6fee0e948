# Installs a build into an empty folder, then configures, builds and runs an outside project against it.
#   cmake -DBUILD=DIR -DFOLDER=DIR -DPROJECT=DIR -DCOMPILER=FILE -DGENERATOR=NAME -P install_and_use.cmake
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${ARGV}\nended with ${status}:\n${out}")
  endif()
  set(output "${out}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${FOLDER})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${FOLDER}/fl)
foreach(program fl-server fl-client fl-sim fl-pki)
  run(${FOLDER}/fl/bin/${program} --version)
endforeach()
run(${CMAKE_COMMAND} -S ${PROJECT} -B ${FOLDER}/build -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${COMPILER}
  -DCMAKE_PREFIX_PATH=${FOLDER}/fl)
run(${CMAKE_COMMAND} --build ${FOLDER}/build)
run(${FOLDER}/build/outside)
if(NOT output MATCHES "4 values in [0-9]+ bytes: -1.00")
  message(FATAL_ERROR "the outside project printed: ${output}")
endif()
file(REMOVE_RECURSE ${FOLDER})
