cmake_minimum_required(VERSION 3.25)
# Reads every #include "fl/..." and fails on an arrow that isn't drawn; on words of one side in common/; on a file that lies
# loose in common/; on names that say nothing. Called as  cmake -DSOURCE=... -P layers.cmake
#
#   modules         common <- compression <- { client, server } <- simulations
#   inside common   base <- random, crypto, config, tensor     tensor, random <- nn, data
#                   tensor <- wire                             wire, crypto <- net
set(complaints "")

# What each room may include, besides itself.
set(may_base "")
foreach(room IN ITEMS random crypto config tensor)
  set(may_${room} base)
endforeach()
foreach(room IN ITEMS nn data)
  set(may_${room} base tensor random config)
endforeach()
set(may_wire base tensor)
set(may_net base tensor wire crypto)
set(may_compression common)
set(may_client common compression)
set(may_server common compression)
set(may_simulations common compression client server)

file(GLOB_RECURSE files RELATIVE ${SOURCE}
  ${SOURCE}/common/*.h ${SOURCE}/common/*.cpp ${SOURCE}/compression/*.h ${SOURCE}/compression/*.cpp
  ${SOURCE}/client/*.h ${SOURCE}/client/*.cpp ${SOURCE}/server/*.h ${SOURCE}/server/*.cpp
  ${SOURCE}/simulations/*.h ${SOURCE}/simulations/*.cpp)
list(LENGTH files file_count)
if(file_count LESS 20)
  message(FATAL_ERROR "layers: found only ${file_count} files under ${SOURCE}")
endif()

foreach(file IN LISTS files)
  string(REGEX MATCH "^([^/]+)/([^/]+)" ignored ${file})
  set(module ${CMAKE_MATCH_1})
  set(room ${CMAKE_MATCH_2})
  if(file MATCHES "^common/[^/]*$")
    string(APPEND complaints "\n  " "${file}: nothing lies loose in common/, give it a library")
  endif()
  if(file MATCHES "(^|[/_])(util|utils|helper|helpers|misc|manager|context)(_|\\.|/)")
    string(APPEND complaints "\n  " "${file}: the name says nothing about what is inside")
  endif()

  file(STRINGS ${SOURCE}/${file} includes REGEX "^ *# *include *\"")
  foreach(line IN LISTS includes)
    if(NOT line MATCHES "\"fl/([^/]+)/([^/\"]+)/?[^\"]*\"")
      if(NOT line MATCHES "\"fl/" AND NOT file MATCHES "/kernels/")
        string(APPEND complaints "\n  " "${file}: ${line} isn't written as \"fl/...\"")
      endif()
      continue()
    endif()
    set(to_module ${CMAKE_MATCH_1})
    set(to_room ${CMAKE_MATCH_2})
    if(module STREQUAL "common" AND to_module STREQUAL "common")
      if(NOT to_room STREQUAL room AND NOT to_room IN_LIST may_${room})
        string(APPEND complaints "\n  " "${file}: ${line}; common/${room} may not include common/${to_room}")
      endif()
    elseif(NOT to_module STREQUAL module AND NOT to_module IN_LIST may_${module})
      string(APPEND complaints "\n  " "${file}: ${line}; ${module} may not include ${to_module}")
    endif()
  endforeach()

  if(module STREQUAL "common")
    # Identifiers only: what stands in comments and in text explains, and may say what the sides do.
    file(STRINGS ${SOURCE}/${file} lines REGEX "[Cc]ohort|[Jj]ournal|[Tt]rainer")
    foreach(line IN LISTS lines)
      string(REGEX REPLACE "//.*$|\"[^\"]*\"" "" code "${line}")
      if(code MATCHES "[Cc]ohort|[Jj]ournal|[Tt]rainer")
        string(APPEND complaints "\n  " "${file}: '${line}' uses a word of one side")
      endif()
    endforeach()
  endif()
endforeach()

if(complaints)
  message(FATAL_ERROR "layers:${complaints}")
endif()
message(STATUS "layers: ${file_count} files follow the drawing")
