# Makes a manual page of one of docs/*.md, whose title becomes the page's NAME:
#   cmake -DINPUT=x.md -DOUTPUT=x.1 -DNAME=x -DSECTION=1 -DSUMMARY="..." -DLOWDOWN=... -P ManPage.cmake
file(READ "${INPUT}" text)
string(REGEX REPLACE "^# [^\n]*\n" "" text "${text}")
string(REGEX REPLACE "\n## " "\n# " text "${text}")
string(REGEX REPLACE "\n### " "\n## " text "${text}")
file(WRITE "${OUTPUT}.md" "# NAME\n\n${NAME} - ${SUMMARY}\n\n# DESCRIPTION\n${text}")
execute_process(
  COMMAND "${LOWDOWN}" -s -Tman -m "title=${NAME}" -m "section=${SECTION}" -m "source=tmemd"
          -o "${OUTPUT}" "${OUTPUT}.md"
  COMMAND_ERROR_IS_FATAL ANY)
