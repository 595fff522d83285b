(function_declaration name: (_) @name) @definition
(generator_function_declaration name: (_) @name) @definition
(class_declaration name: (_) @name) @definition
(method_definition name: (_) @name) @definition
(variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression) (class)])
  @definition
(pair key: (property_identifier) @name value: [(arrow_function) (function_expression)]) @definition
(assignment_expression left: (member_expression property: (_) @name)
  right: [(arrow_function) (function_expression)]) @definition

(interface_declaration name: (_) @name) @definition
(type_alias_declaration name: (_) @name) @definition
(enum_declaration name: (_) @name) @definition
(abstract_class_declaration name: (_) @name) @definition
(abstract_method_signature name: (_) @name) @definition
(function_signature name: (_) @name) @definition
