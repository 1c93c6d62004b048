// Text in columns, for a terminal: names to the left, figures to the right.
#ifndef TMEM_CTL_TABLE_H_
#define TMEM_CTL_TABLE_H_

#include <string>
#include <string_view>
#include <vector>

namespace tmem::ctl {

// Text that a terminal shows as it is: a guest's name must not move the cursor.
std::string Printable(std::string_view text);

class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kRight;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // REQUIRES: one cell a column.
  void Add(std::vector<std::string> cells);

  // The titles' line, unless all are empty, and a line for each row; no trailing blanks.
  std::vector<std::string> Lines() const;
  std::string Text() const;  // the same, each with its newline

 private:
  const std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace tmem::ctl

#endif  // TMEM_CTL_TABLE_H_
