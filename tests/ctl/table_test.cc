#include "ctl/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tmem::ctl {
namespace {

using testing::ElementsAre;

TEST(TableTest, NamesGoLeftAndFiguresRight) {
  Table table({{"ID"}, {"NAME", Table::Align::kLeft}, {"PAGES"}});
  table.Add({"1", "db1", "5"});
  table.Add({"12", "x", "12345"});
  EXPECT_THAT(table.Lines(), ElementsAre("ID  NAME  PAGES",  //
                                         " 1  db1       5",  //
                                         "12  x     12345"));
}

TEST(TableTest, HasNoTrailingBlanks) {
  Table table({{"A"}, {"B", Table::Align::kLeft}});
  table.Add({"1", "longer"});
  table.Add({"2", ""});
  EXPECT_THAT(table.Lines(), ElementsAre("A  B", "1  longer", "2"));
}

TEST(TableTest, EmptyTitlesMakeNoLine) {
  Table table({{""}, {""}});
  table.Add({"a", "b"});
  EXPECT_EQ(table.Text(), "a  b\n");
}

TEST(TableTest, CellsCannotMoveTheCursor) {
  Table table({{"NAME", Table::Align::kLeft}});
  table.Add({"a\x1b[2Jb\n\xff"});
  EXPECT_THAT(table.Lines(), ElementsAre("NAME", "a?[2Jb??"));
}

}  // namespace
}  // namespace tmem::ctl
